"""Where a call goes: provider keys and targets, and how they fare."""
