"""Where base models come from: a folder, a hub id, a GGUF file, or a package that carries one."""
