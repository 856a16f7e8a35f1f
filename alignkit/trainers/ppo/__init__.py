"""PPO: the online trainer with a critic, and the methods that build on it."""
