"""Adapters to trainers, such as `rewardsmith.engines.trl`. Import the engine you use."""
