@echo off
rem In Windows PE: says by the serial port that Setup has found its answers, then watches for errors of Setup.
echo @labctl {"phase": "setup"}>COM1
start "labctl" /min cmd.exe /c "%~dp0watch.cmd"
