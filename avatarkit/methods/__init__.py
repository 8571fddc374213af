"""The methods that make avatars: a registry and one package each."""
