"""Why GPUs sit idle: signals of each subject in, the cause, its evidence, its price and a remedy out."""
