"""A model behind another server of the OpenAI protocol: vLLM, SGLang, llama.cpp, Ollama, `transformers serve`."""
