"""What a run of a command is started with, for its folder."""

from typing import Any

from robustrun.command_line.session import Session, own_words
from robustrun.configuration import plugins
from robustrun.run_folder import provenance


def request(
    session: Session, overrides: list[str], run_config: Any = None
) -> provenance.Provenance:
    """What a run of this session is started with; without a configuration, it was refused."""
    given = own_words(overrides)
    swept = given if session.line.sweeps else []
    elsewhere = session.line.value("--config-path") or session.line.value("--config-name")
    if run_config is None:
        return provenance.new(command=session.command, swept=swept)
    from robustrun.configuration.decoding import dump

    places = plugins.places(run_config)
    return provenance.new(
        command=session.command,
        overrides=None if elsewhere else given,
        swept=swept,
        folders=[str(folder) for folder in (*session.folders, *plugins.config_folders(places))],
        plugins=places,
        configuration=dump(run_config),
    )
