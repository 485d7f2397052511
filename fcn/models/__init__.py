"""What a network is made of: backbones, decoders, up-samplers."""
