"""Workers of a study on a Slurm cluster, by submitit (pip install submitit).

Start the study first (srnas search --study NAME --storage postgresql://USER@HOST/DATABASE ...) and stop it again, or
let it run. Then: python docs/slurm.py NAME postgresql://USER@HOST/DATABASE --workers 8 --partition gpu

With --cluster local --device cpu the jobs are processes of this machine. Not tried on a cluster.
"""

import argparse
import subprocess

import submitit


def main() -> None:
    """Submit one job per worker; a job that is preempted is lost, and the others judge what it held."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study")
    parser.add_argument("storage")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--partition")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--cluster", default="slurm")
    parser.add_argument("--hours", type=int, default=24)
    given = parser.parse_args()
    executor = submitit.AutoExecutor(folder="slurm-logs", cluster=given.cluster)
    executor.update_parameters(
        timeout_min=60 * given.hours,
        gpus_per_node=int(given.device != "cpu"),
        cpus_per_task=4,
        slurm_partition=given.partition,
    )
    command = ["srnas", "worker", given.study, "--storage", given.storage, "--device", given.device]
    for job in executor.map_array(subprocess.check_call, [command] * given.workers):
        print(job.job_id)  # noqa: T201


if __name__ == "__main__":
    main()
