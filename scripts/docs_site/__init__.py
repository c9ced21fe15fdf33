"""Parts of the documentation site: options of the commands, pages and their links, diagrams."""
