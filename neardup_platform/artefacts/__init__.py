"""S3 as every stage and edge reaches it: artefacts, pictures and logs that outlive one machine."""
