"""What the chat templates of models take for more than words."""

from spiral_envs.hostile import CONTROL_TOKENS

CHAT_TOKENS = {
    "Qwen3": ("<|im_start|>", "<|im_end|>", "<|endoftext|>", "<think>", "</think>", "<tool_call>", "<tool_response>"),
    "Llama 3": ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|python_tag|>"),
    "Gemma": ("<start_of_turn>", "<end_of_turn>", "<bos>", "<eos>", "<pad>"),
    "SmolLM2": ("<|im_start|>", "<|im_end|>", "<|endoftext|>", "<repo_name>", "<file_sep>"),
}

TOKENS = sorted({*CONTROL_TOKENS, *(token for tokens in CHAT_TOKENS.values() for token in tokens)})
"""Those, and what a reader of replies or a game could take for more."""
