"""The tools that run commands: `run`, `job_output`, `job_stop`."""
