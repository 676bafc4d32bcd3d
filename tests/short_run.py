"""The words of a whole run that takes a moment."""

DRAWN = [  # with its figures, which take longer than all else
    "training.epochs=1",
    "training.batch_size=256",
    "method=standard",
    "attack=fgsm",
    "evaluation=none",
    "evaluation.examples=20",
    "device.threads=1",
]
SHORT = [*DRAWN, "keep.figures=false"]
