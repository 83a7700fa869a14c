"""What was timed together, as it is kept, and the trials with their latency of it."""

from handmade import trial

from srnas.leaderboard.record.timing import JointTiming
from srnas.profiling import MeasuredNetwork


def test_a_trial_gets_its_latency_of_the_run():
    measured = MeasuredNetwork(trial(1, 31.0, (5.0, 6.0)).latency, 2.5, None, {"host": "here"})
    joint = JointTiming(networks={1: measured}, ended_ms=7, judged=2, runs=1)
    assert JointTiming.model_validate_json(joint.model_dump_json()) == joint
    before = trial(1, 31.0, (4.0,))
    after = joint.of(before)
    assert (after.latency, after.peak_memory_mib, after.preflight) == (measured.latency, 2.5, {"host": "here"})
    assert (after.timed_together_ms, before.timed_together_ms) == (7, None)
    assert after.quality == before.quality
    assert joint.of(trial(0, 31.0)) == trial(0, 31.0)
