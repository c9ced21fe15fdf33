"""The HTTP server: the OpenAI protocol, and a page for people."""
