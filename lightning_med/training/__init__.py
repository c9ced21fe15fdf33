"""Everything that needs a Trainer: the LightningModule, optimizer, callbacks, loggers."""
