"""labkit: the small package under the course on diffusion models."""

__version__ = "0.1.0"
