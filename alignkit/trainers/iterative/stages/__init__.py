"""The stages of an iteration: functions from files to files, each of which writes its output whole or not at all."""
