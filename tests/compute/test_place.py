"""Which of several processes one is, as torchrun and Slurm say it."""

import pytest

from robustrun.compute.place import STORE, first_node, place
from robustrun.errors import ConfigError

TORCHRUN = {
    "RANK": "5",
    "WORLD_SIZE": "8",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "4",
    "MASTER_ADDR": "10.0.0.1",
    "MASTER_PORT": "1234",
}
TASK = {
    "SLURM_PROCID": "2",
    "SLURM_LOCALID": "2",
    "SLURM_NTASKS": "4",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_STEP_NUM_NODES": "1",
    "SLURM_STEP_NODELIST": "gpu07",
    "SLURM_JOB_ID": "41",
    "SLURM_STEP_ID": "0",
}


def test_a_process_that_was_started_by_itself_has_no_place() -> None:
    assert place({}) is None
    assert place({"WORLD_SIZE": "1"}) is None


def test_torchrun_says_who_is_who() -> None:
    here = place(TORCHRUN)
    assert here is not None
    assert (here.rank, here.count, here.local_rank, here.one_machine) == (5, 8, 1, False)
    assert (here.address, here.port, here.store) == ("10.0.0.1", 1234, None)
    alone = place(TORCHRUN | {"LOCAL_WORLD_SIZE": "8", STORE: "/meeting"})
    assert alone is not None
    assert (alone.one_machine, alone.store) == (True, "/meeting")


def test_one_process_of_torchrun_is_a_group_of_one() -> None:
    here = place({"RANK": "0", "WORLD_SIZE": "1"})
    assert here is not None
    assert here.count == 1


def test_a_number_of_processes_without_a_rank_is_refused() -> None:
    with pytest.raises(ConfigError, match="WORLD_SIZE is 4, but RANK is not set"):
        place({"WORLD_SIZE": "4"})


def test_several_tasks_of_a_step_of_slurm_are_the_processes_of_a_run() -> None:
    here = place(TASK)
    assert here is not None
    assert (here.rank, here.count, here.local_rank, here.one_machine) == (2, 4, 2, True)
    assert here.store is not None  # a file: no port is open to others
    again = place(TASK | {"SLURM_RESTART_COUNT": "1"})
    assert again is not None
    assert again.store != here.store
    later = place(TASK | {"SLURM_JOB_START_TIME": "1800000000"})  # job 41 of another cluster
    assert later is not None
    assert later.store != here.store
    far = place(TASK | {"SLURM_STEP_NUM_NODES": "2", "SLURM_STEP_NODELIST": "gpu[07-08]"})
    assert far is not None
    assert (far.address, far.one_machine, far.store) == ("gpu07", False, None)
    assert far.port == here.port  # the same for all tasks of a step
    other = place(TASK | {"SLURM_STEP_ID": "1"})
    assert other is not None
    assert other.port != here.port


def test_a_batch_script_and_a_single_task_of_slurm_have_no_place() -> None:
    script = {"SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_JOB_ID": "41"}
    assert place(script) is None
    assert place(TASK | {"SLURM_STEP_NUM_TASKS": "1"}) is None


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("login", "login"),
        ("gpu[03-06,9],login", "gpu03"),
        ("a,b", "a"),
        ("rack[1-2]-node", "rack1-node"),
        ("x-[12]", "x-12"),
    ],
)
def test_the_first_machine_of_slurms_list_is_read(nodes: str, first: str) -> None:
    assert first_node(nodes) == first
