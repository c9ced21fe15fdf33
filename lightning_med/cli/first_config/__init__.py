"""The config that `init` writes: what is asked, what data, base and machine are, and the settings that follow."""
