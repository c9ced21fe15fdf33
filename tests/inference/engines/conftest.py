from tests.model_fixtures import data, folder, seeded  # noqa: F401 - pytest finds fixtures here by name
