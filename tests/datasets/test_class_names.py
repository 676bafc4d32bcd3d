"""What a class that is numbered as in WordNet is called."""

from pathlib import Path

from robustrun.datasets.class_names import read_words, readable


def test_classes_have_their_first_word_and_their_number_where_that_is_shared(
    tmp_path: Path,
) -> None:
    words = "n02012849\tcrane\nn03126707\tcrane, derrick\nn01443537\tgoldfish, Carassius auratus\n"
    (tmp_path / "words.txt").write_text(words)
    names = readable(
        ["n01443537", "n02012849", "n03126707", "n9"], read_words(tmp_path / "words.txt")
    )
    assert names == ("goldfish", "crane (n02012849)", "crane (n03126707)", "n9")


def test_without_words_the_numbers_stay(tmp_path: Path) -> None:
    assert readable(["n1", "n2"], read_words(tmp_path / "words.txt")) == ("n1", "n2")
