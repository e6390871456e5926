@echo off
rem Runs a script of this disc: run.cmd NAME
powershell.exe -NoLogo -NoProfile -NonInteractive -ExecutionPolicy Bypass -File "%~dp0%1.ps1"
