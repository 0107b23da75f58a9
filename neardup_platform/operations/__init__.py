"""What operators do to a running platform: the functions behind the commands of the CLI and the jobs in Dagster."""
