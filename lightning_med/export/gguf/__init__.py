"""The GGUF format: one file for llama.cpp, and a Modelfile for Ollama."""
