"""Knowledge of mail: pure values and functions. No database, socket, clock, config."""
