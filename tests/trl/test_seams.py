"""Every private part of TRL and transformers that the trainer touches is what it was in the pinned version.

A failure here names what moved. Read TRL's changes to it, adapt `spiral_trl/trainer.py` or `spiral_trl/generation.py`,
and raise the pin in `pyproject.toml` together with this file.
"""

# Fakes and libraries are typed in part only.
# pyright: reportPrivateImportUsage=false

import ast
import inspect
import re

import pytest
import transformers
import trl
from scripted import SETTINGS, ScriptedSampler, legal_reply, make_tiny_model
from transformers import Trainer
from trl import GRPOConfig, GRPOTrainer
from trl.distributed import DistributedBackend
from trl.generation.vllm_generation import VLLMGeneration

import spiral_trl.generation
import spiral_trl.trainer
from spiral_trl import SelfPlayConfig, SelfPlayTrainer

VERSION = f"TRL {trl.__version__}"

SIGNATURES = {
    "_generate_single_turn": ["prompt_ids", "images", "multimodal_fields", "num_generations", "has_tool_images"],
    "_prepare_inputs": ["generation_batch"],
    "_generate_and_score_completions": ["inputs"],
    "_compute_loss": ["model", "inputs"],
    "_save_checkpoint": ["model", "trial"],
    "_load_optimizer_and_scheduler": ["checkpoint"],
    "_get_output_dir": ["trial"],
}

LOGPROB_ARGUMENTS = ["model", "input_ids", "attention_mask", "logits_to_keep"]

LOSS_KEYS = {
    "prompt_ids",
    "prompt_mask",
    "completion_ids",
    "completion_mask",
    "tool_mask",
    "advantages",
    "num_items_in_batch",
    "old_per_token_logps",
    "ref_per_token_logps",
    "sampling_per_token_logps",
    "importance_sampling_ratio",
}
"""What the trainer hands to the loss, and the loss must read."""

OTHER_LOSS_KEYS = {
    "pixel_values",
    "image_grid_thw",
    "num_images",
    "pixel_attention_mask",
    "spatial_shapes",
    "num_tiles",
    "image_sizes",
    "token_type_ids",
    "mm_token_type_ids",
    "image_position_ids",
}
"""Images, which games do not have."""

ATTRIBUTES = {
    "_metrics": dict,
    "_tokenizer": object,
    "_step": int,
    "_buffered_inputs": type(None),
    "num_iterations": int,
    "use_vllm": bool,
    "vllm_importance_sampling_correction": bool,
    "vllm_importance_sampling_clip_min": (float, type(None)),
    "vllm_importance_sampling_clip_max": float,
    "beta": float,
    "ref_model": object,
    "max_completion_length": int,
    "eos_token_ids": (list, tuple, set),
    "accelerator": object,
    "state": object,
    "_dist": DistributedBackend,
}

VLLM_ATTRIBUTES = {"_last_loaded_step", "_llm_weights_sleeping"}
"""Set only where vLLM generates."""


def vars_of_trl():
    """The attributes that TRL's trainer and its vLLM generation set on themselves."""
    text = inspect.getsource(GRPOTrainer) + inspect.getsource(VLLMGeneration)
    return set(re.findall(r"self\.(_[a-z]\w*)", text))


def source(method):
    return inspect.getsource(inspect.unwrap(method))


def test_the_installed_trl_is_the_pinned_one():
    assert trl.__version__.startswith("1.16."), f"{VERSION}: these seams were checked with 1.16"


@pytest.mark.parametrize("name", SIGNATURES)
def test_an_overridden_or_called_method_has_the_known_signature(name):
    method = getattr(GRPOTrainer, name, None)
    assert method is not None, f"{VERSION}: GRPOTrainer.{name} is gone"
    names = list(inspect.signature(method).parameters)[1:]
    assert names == SIGNATURES[name], f"{VERSION}: GRPOTrainer.{name} takes {names}, was {SIGNATURES[name]}"


def test_the_logprob_method_takes_the_four_known_arguments_first_and_returns_three_things():
    method = getattr(GRPOTrainer, "_get_per_token_logps_and_entropies", None)
    assert method is not None, f"{VERSION}: GRPOTrainer._get_per_token_logps_and_entropies is gone"
    names = list(inspect.signature(method).parameters)[1:5]
    assert names == LOGPROB_ARGUMENTS, f"{VERSION}: _get_per_token_logps_and_entropies begins with {names}"
    assert "return logps, entropies, aux_loss" in source(method), f"{VERSION}: it returns something else"


def test_the_loss_reads_exactly_the_known_keys():
    text = source(GRPOTrainer._compute_loss)
    read = set(re.findall(r'inputs\["(\w+)"\]', text)) | set(re.findall(r'inputs\.get\(\s*"(\w+)"', text))
    gone = (LOSS_KEYS - {"num_items_in_batch"}) - read
    assert not gone, f"{VERSION}: GRPOTrainer._compute_loss does not read {sorted(gone)} any more"
    new = read - LOSS_KEYS - OTHER_LOSS_KEYS
    assert not new, f"{VERSION}: GRPOTrainer._compute_loss reads {sorted(new)} as well"


@pytest.mark.parametrize(
    "line",
    [
        'mask = completion_mask if "tool_mask" not in inputs else completion_mask * inputs["tool_mask"]',
        "loss = (per_token_loss * mask).sum() / (per_token_loss.size(0) * self.max_completion_length)",
        'normalizer = self.current_gradient_accumulation_steps if mode == "train" else 1.0',
    ],
)
def test_the_loss_has_the_line_on_which_the_row_weights_rest(line):
    assert line in source(GRPOTrainer._compute_loss), f"{VERSION}: GRPOTrainer._compute_loss has no line {line!r}"


def test_generation_syncs_vllm_when_the_step_has_moved_and_returns_ids_and_logprobs():
    text = source(GRPOTrainer._generate_single_turn)
    for line in (
        "if self.state.global_step != self._last_loaded_step:",
        "self.vllm_generation.sync_weights()",
        "return completion_ids, logprobs",
    ):
        assert line in text, f"{VERSION}: GRPOTrainer._generate_single_turn has no line {line!r}"


def test_vllm_generation_has_the_lines_that_a_phase_takes_over():
    text = inspect.getsource(VLLMGeneration)
    for line in (
        'if self.enable_sleep_mode:\n                self.llm.wake_up(tags=["kv_cache"])',
        "self.llm.sleep(level=2)\n                self._llm_weights_sleeping = True",
        'if self.mode == "colocate" and self.enable_sleep_mode and self._llm_weights_sleeping:',
        "model = self.model\n",
        "for name, param in self._iter_named_params():",
        "self.tensor_parallel_size = tensor_parallel_size",
        "self.vllm_client = VLLMClient(",
    ):
        assert line in text, f"{VERSION}: VLLMGeneration has no line {line!r}"


def test_the_step_counts_micro_batches():
    text = source(GRPOTrainer.training_step)
    assert "self._step += 1" in text, f"{VERSION}: GRPOTrainer.training_step does not count self._step"
    assert "self._buffered_inputs = None" in source(GRPOTrainer.__init__), f"{VERSION}: _buffered_inputs moved"


def test_resuming_reads_the_step_before_the_optimizer():
    text = source(Trainer)
    read = text.rfind("self.state = TrainerState.load_from_json(")
    loaded = text.find("self._load_optimizer_and_scheduler(resume_from_checkpoint)")
    assert 0 < read < loaded, f"transformers {transformers.__version__} restores the optimizer before the step count"


def test_a_trainer_has_every_attribute_that_is_read(tmp_path, tokenizer):
    args = SelfPlayConfig(output_dir=str(tmp_path), **SETTINGS)
    trainer = SelfPlayTrainer(
        model=make_tiny_model(tokenizer),
        args=args,
        processing_class=tokenizer,
        sampler=ScriptedSampler(tokenizer, legal_reply),
    )
    for name, kind in ATTRIBUTES.items():
        assert hasattr(trainer, name), f"{VERSION}: GRPOTrainer.{name} is gone"
        assert isinstance(getattr(trainer, name), kind), f"{VERSION}: GRPOTrainer.{name} is {getattr(trainer, name)!r}"
    assert trainer._step == 0
    assert trainer._metrics["train"]["anything"] == [], f"{VERSION}: _metrics['train'] makes no list for a new name"
    assert trainer._tokenizer is tokenizer
    assert list(trainer.eos_token_ids) == [tokenizer.eos_token_id]
    assert trainer.beta == 0.0
    assert trainer.ref_model is None


def test_every_private_name_that_the_trainer_uses_is_its_own_or_listed_here():
    trees = [ast.parse(inspect.getsource(module)) for module in (spiral_trl.trainer, spiral_trl.generation)]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    attributes = [node for node in nodes if isinstance(node, ast.Attribute) and re.match(r"_[a-z]", node.attr)]
    used = {node.attr for node in attributes}
    own = {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
    # What they set on themselves and TRL does not have.
    own |= {node.attr for node in attributes if isinstance(node.ctx, ast.Store)} - vars_of_trl()
    listed = {*SIGNATURES, *ATTRIBUTES, *VLLM_ATTRIBUTES, "_get_per_token_logps_and_entropies"}
    assert used - own <= listed, f"not checked against TRL: {sorted(used - own - listed)}"


@pytest.mark.parametrize(
    ("name", "default"),
    [
        ("loss_type", "dapo"),
        ("vllm_importance_sampling_mode", "sequence_mask"),
        ("vllm_importance_sampling_clip_min", None),
        ("vllm_importance_sampling_clip_max", 3.0),
        ("use_bias_correction_kl", True),
        ("importance_sampling_level", "token"),
        ("mask_truncated_completions", False),
        ("steps_per_generation", None),
        ("temperature", 1.0),
        ("top_k", 0),
        ("top_p", 1.0),
    ],
)
def test_a_default_of_trl_that_self_play_relies_on_or_changes_is_the_known_one(name, default):
    assert name in GRPOConfig.__dataclass_fields__, f"{VERSION}: GRPOConfig.{name} is gone"
    found = GRPOConfig.__dataclass_fields__[name].default
    assert found == default, f"{VERSION}: the default of GRPOConfig.{name} is {found!r}, was {default!r}"
