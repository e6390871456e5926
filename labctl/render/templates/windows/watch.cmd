@echo off
rem Sends what Setup notes as errors in Windows PE, where there is no PowerShell, each time that there is more of it.
set seen=0
:again
ping -n 16 127.0.0.1 >nul
set size=0
for %%f in (X:\Windows\Panther\setuperr.log) do if exist %%f set size=%%~zf
if %size%==%seen% goto again
set seen=%size%
(echo @labctl-log X:\Windows\Panther\setuperr.log& type X:\Windows\Panther\setuperr.log& echo @labctl-end)>COM1
goto again
