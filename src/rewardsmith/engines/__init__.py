"""The files that import a trainer: `rewardsmith.engines.trl` puts our stages into TRL. Import the engine you use."""
