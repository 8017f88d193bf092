"""Runs of several processes, for `test_processes.py`.

    python process_run.py '[PLAN, ...]'                  starts the runs, one after the other, with torch's launcher
    accelerate launch ... process_run.py '[PLAN]'        is one process of a run

A plan is a JSON object: `model` and `output` (folders), `settings` of the trainer, and where wanted `processes` (how
many are started), `is_sharded` (FSDP), `is_scripted` (replies of `scripted.legal_reply`), `resume` (from the last whole
checkpoint), `stop_at` (a step), `slow_rank` (who sleeps at every token of its games) and `kill` (`{"rank": R, "step":
S}`: SIGKILL amid the games of that step).

Every process writes `ranks/rank-R.json` into the folder of its run: its baselines after every step with floats written
exactly, digests of its weights and of the snapshots, and what it logged.
"""

# Libraries are typed in part only.
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false

import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path

import torch
from accelerate.state import PartialState
from accelerate.utils import DistributedType
from scripted import ScriptedSampler, legal_reply
from torch.distributed.launcher.api import LaunchConfig, elastic_launch
from torch.distributed.tensor import DTensor
from transformers import AutoTokenizer, TrainerCallback

from spiral_trl import SelfPlayConfig, SelfPlayTrainer
from spiral_trl.generation import load_snapshot
from spiral_trl.records import JsonLines
from spiral_trl.run import MetricsCallback
from spiral_trl.trainer import checkpoint_step, last_complete_checkpoint

FSDP = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "FSDP_RESHARD_AFTER_FORWARD": "true",
    "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT",
    "FSDP_CPU_RAM_EFFICIENT_LOADING": "true",
}
"""What `accelerate launch` hands on of the packaged configuration `fsdp`."""


def exact(baseline):
    """The baselines as [key, value in hexadecimal digits, count]."""
    return [[list(key), value.hex(), count] for key, value, count in baseline.state_dict()["baselines"]]


def digest(model):
    """A digest of all weights, to the last bit; parts that are spread over processes are gathered."""
    whole = hashlib.sha256()
    for name, parameter in sorted(model.state_dict().items()):
        tensor = parameter.full_tensor() if isinstance(parameter, DTensor) else parameter
        whole.update(name.encode())
        whole.update(tensor.detach().contiguous().view(torch.uint8).numpy().tobytes())
    return whole.hexdigest()


class Watch(TrainerCallback):
    """Remembers the baselines after every step, and stops the run where it is told to."""

    def __init__(self, stop_at):
        self.stop_at = stop_at
        self.trainer = None
        self.baselines = {}

    def on_step_end(self, args, state, control, **_):
        self.baselines[state.global_step] = exact(self.trainer.baseline)
        control.should_training_stop = state.global_step == self.stop_at


class Disturbance:
    """Runs before every pass of the model; while games are played, it delays its process or kills it."""

    def __init__(self, trainer, *, is_slow, fatal_step):
        self.trainer = trainer
        self.is_slow = is_slow
        self.fatal_step = fatal_step
        self.num_passes = 0

    def __call__(self, *_):
        if torch.is_grad_enabled():
            return
        if self.is_slow:
            time.sleep(0.003)
        self.num_passes += self.trainer.state.global_step + 1 == self.fatal_step
        # A few tokens of the first turns are written by then.
        if self.num_passes == 7:
            os.kill(os.getpid(), signal.SIGKILL)


def play(plan):
    """Trains as one process of the run that `plan` describes."""
    if plan.get("is_sharded"):
        os.environ.update(FSDP)
        allow_fsdp_on_cpus()
    # Else it is cpu:0 and cpu:1, to which torch cannot load an optimizer.
    os.environ["ACCELERATE_TORCH_DEVICE"] = "cpu"
    output = Path(plan["output"])
    watch = Watch(plan.get("stop_at"))
    args = SelfPlayConfig(output_dir=str(output), **plan["settings"])
    tokenizer = AutoTokenizer.from_pretrained(plan["model"], padding_side="left")
    trainer = SelfPlayTrainer(
        model=plan["model"],
        args=args,
        processing_class=tokenizer,
        callbacks=[watch],
        sampler=ScriptedSampler(tokenizer, legal_reply) if plan.get("is_scripted") else None,
    )
    watch.trainer = trainer
    rank = trainer.accelerator.process_index
    kill = plan.get("kill", {"rank": None, "step": None})
    trainer.model.register_forward_pre_hook(
        Disturbance(
            trainer, is_slow=rank == plan.get("slow_rank"), fatal_step=kill["step"] if rank == kill["rank"] else None
        )
    )
    checkpoint = last_complete_checkpoint(output) if plan.get("resume") else None
    metrics = JsonLines(output / "metrics.jsonl")
    if trainer.is_world_process_zero():
        metrics.rewind(checkpoint_step(checkpoint) if checkpoint else 0)
    trainer.add_callback(MetricsCallback(metrics))
    trainer.train(resume_from_checkpoint=checkpoint)
    folder = output / "ranks"
    folder.mkdir(exist_ok=True)
    (folder / f"rank-{rank}.json").write_text(json.dumps(facts(trainer, watch.baselines)))


def facts(trainer, baselines):
    """What the tests compare between the processes of a run, and between runs."""
    snapshots = trainer.league.steps if trainer.league else ()
    return {
        "num_processes": trainer.accelerator.num_processes,
        "backend": torch.distributed.get_backend() if torch.distributed.is_initialized() else None,
        "distribution": trainer.accelerator.distributed_type.value,
        "baselines": baselines,
        "weights": digest(trainer.policy),
        "snapshots": {
            step: digest(load_snapshot(trainer.league.folder_of(step), dtype=torch.float32, device=torch.device("cpu")))
            for step in snapshots
        },
    }


def allow_fsdp_on_cpus():
    """Makes accelerate spread the weights over processes on CPUs, which torch can do and accelerate leaves out.

    Accelerate reads its settings of FSDP for a kind of distribution with an accelerator only, and takes the device from
    elsewhere.
    """
    begin = PartialState.__init__

    def begin_as_if_on_accelerators(self, *args, **kwargs):
        begin(self, *args, **kwargs)
        if self._shared_state["distributed_type"] == DistributedType.MULTI_CPU:
            self._shared_state["distributed_type"] = DistributedType.MULTI_XPU

    PartialState.__init__ = begin_as_if_on_accelerators


def launch(plan):
    """Starts the processes of a run as `torchrun` does, and waits for them.

    They are forked from this process, which has imported everything already.
    """
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=plan["processes"],
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        start_method="fork",
    )
    elastic_launch(config, play)(plan)


def main():
    plans = json.loads(sys.argv[1])
    if "LOCAL_RANK" not in os.environ:
        for plan in plans:
            launch(plan)
        return
    (plan,) = plans
    play(plan)


if __name__ == "__main__":
    main()
