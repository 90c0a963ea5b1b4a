"""What a service and the service manager that started it tell each other; all of it is optional on either side."""
