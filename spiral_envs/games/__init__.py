"""The native games, one file each; `spiral_envs.registry` lists them."""
