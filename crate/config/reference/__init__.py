"""Every key and option that can be set: help, suggestions and the generated page."""
