"""The words of a whole run that takes a moment."""

SHORT = [
    "training.epochs=1",
    "training.batch_size=256",
    "method=standard",
    "attack=fgsm",
    "evaluation=none",
    "evaluation.examples=20",
    "device.threads=1",
]
