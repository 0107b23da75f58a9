"""What the API answers, as the pydantic models that OpenAPI is generated from. Pure.

A module per subject. An answer is built from the record it reports by `Answer.of`.
"""
