"""The training engine of torchtune 0.6.1, its last release: Llama, Mistral, Qwen2 and Qwen3 on every device.

torchtune itself is imported when a policy is built; names and shapes are plain functions.
"""
