"""The training engine Unsloth, on an NVIDIA GPU: `settings` and `names` are plain functions, the rest needs CUDA."""
