"""The optional packages: which option needs which, what is there, and how the rest is installed."""

import re
import shutil
from importlib import metadata

from robustrun.command_line.diagnosis.findings import Finding, Section
from robustrun.command_line.diagnosis.installation import package_of, requirements

NEEDED_BY = {  # each extra of pyproject.toml
    "parallel": "hydra/launcher=joblib, the runs of a sweep side by side",
    "slurm": "hydra/launcher=slurm and slurm_local",
    "ray": "hydra/launcher=ray",
    "search": "hydra/sweeper=optuna, a search for the best settings",
    "timm": "model=timm, and the ViT, XCiT and ConvNeXt of the catalogue",
    "svhn": "dataset=svhn",
    "onnx": "robustrun export --to onnx, and the measuring of .onnx files",
    "hub": "robustrun push, and runs named hf://OWNER/NAME",
    "hf": "dataset=huggingface, data sets of the hub by name, or parquet files",
    "tensorboard": "tracker=tensorboard",
    "wandb": "tracker=wandb",
    "mlflow": "tracker=mlflow",
}


def section() -> Section:
    return Section("Optional parts", [_extra(name) for name in extras()])


def extras() -> list[str]:
    """The extras of the installed robustrun, in the order of NEEDED_BY, others behind."""
    try:
        declared = metadata.metadata("robustrun").get_all("Provides-Extra") or []
    except metadata.PackageNotFoundError:
        declared = []
    places = {name: place for place, name in enumerate(NEEDED_BY)}
    return sorted(declared, key=lambda name: (places.get(name, len(places)), name))


def installed(extra: str) -> bool:
    """Whether each package of an extra is there."""
    return all(_version(package_of(line)) for line in requirements(extra))


def _extra(name: str) -> Finding:
    wanted = [package_of(line) for line in requirements(name)]
    use = NEEDED_BY.get(name, ", ".join(wanted))
    if not installed(name):
        return Finding(name, f"not installed. For {use}: pip install 'robustrun[{name}]'")
    versions = ", ".join(f"{package} {_version(package)}" for package in wanted)
    return Finding(name, f"{versions}. For {use}{_engine(name)}")


def _version(package: str) -> str | None:
    try:
        return metadata.version(re.sub(r"\[.*", "", package))
    except metadata.PackageNotFoundError:
        return None


def _engine(name: str) -> str:
    """What is said of a cluster that is not here."""
    if name != "slurm" or shutil.which("sbatch"):
        return ""
    return "; sbatch is not found, so that of the two only slurm_local goes here"
