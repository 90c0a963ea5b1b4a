"""What people and operators type."""
