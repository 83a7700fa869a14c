"""Which of several trainings of one network is the last."""

import os

from handmade import quality

from srnas.leaderboard.record.finals import FinalRecord, FinalResult
from srnas.nas.workspace.finals import FinalFolder, find_final
from srnas.nas.workspace.workspace import Workspace
from srnas.search_space import published


def test_the_last_training_is_that_which_ended_last(workspace):
    """A copy of a workspace has files of another time."""
    place, network = Workspace(workspace), published("plainusr_u", 2)
    for protocol, ended_ms, touched_s in (("early", 1_000, 90), ("late", 2_000, 10), ("of-before", None, 1)):
        record = FinalRecord(architecture=network, protocol=protocol, config={}, bicubic={}, study="")
        result = FinalResult(record=record, quality={"held": quality(30.0)}, train_s=1.0, ended_ms=ended_ms)
        folder = FinalFolder.of(place, record)
        folder.path.mkdir(parents=True)
        folder.weights.touch()
        (folder.path / "result.json").write_text(result.model_dump_json())
        os.utime(folder.path / "result.json", (touched_s, touched_s))
    # What was trained before ends were kept has its file's time: here 1 s, as early as the first.
    assert find_final(place, network.key)[1].record.protocol == "late"
    assert find_final(place, "0" * 12) is None
