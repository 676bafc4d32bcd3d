"""Text with every character that means something on a command line or in a path."""

from hypothesis import strategies as st

NASTY = st.text(st.sampled_from("'\"\\${}a ,=[]():é\uff18\n\r\t#;?*~+@%&|<>!`.-/0"), max_size=14)
