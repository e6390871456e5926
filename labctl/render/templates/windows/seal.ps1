# In audit mode, as the system, once Setup has ended: generalises the machine, says so, and switches it off.
$ErrorActionPreference = 'Stop'
. "$PSScriptRoot\report.ps1"
$sysprep = "$env:SystemRoot\System32\Sysprep"
$state = 'HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\Setup\State'

# Audit mode opens the window of sysprep when Setup has ended, and a second sysprep would not start beside it.
function Wait-Setup([int]$Seconds) {
    $end = (Get-Date).AddSeconds($Seconds)
    while (-not (Get-Process -Name sysprep -ErrorAction SilentlyContinue)) {
        if ((Get-Date) -gt $end) { throw 'audit mode did not begin' }
        Start-Sleep -Seconds 2
    }
    Get-Process -Name sysprep | Stop-Process -Force
}

function Clear-Trace {
    Unregister-ScheduledTask -TaskName 'labctl seal' -Confirm:$false
    # A cached answer file would be taken before the one on a clone's disc, and holds the key of a licence.
    Remove-Item -Path "$env:SystemRoot\Panther\unattend*.xml", "$env:SystemRoot\Panther\Unattend\*",
        "$sysprep\unattend.xml" -Force -ErrorAction SilentlyContinue
    Remove-Item -Path "$env:ProgramData\ssh\ssh_host_*", "$env:ProgramData\ssh\administrators_authorized_keys" `
        -Force -ErrorAction SilentlyContinue
    Remove-Item -LiteralPath "$PSScriptRoot\seal.ps1" -Force
}

try {
    Wait-Setup 900
    Send-Report @{ phase = 'generalize' }
    Clear-Trace
    Start-Process -FilePath "$sysprep\sysprep.exe" -ArgumentList '/generalize', '/oobe', '/quit', '/quiet' -Wait
    $found = (Get-ItemProperty -Path $state).ImageState
    if ($found -ne 'IMAGE_STATE_GENERALIZE_RESEAL_TO_OOBE') { throw "sysprep left the machine in $found" }
    Send-Report @{ phase = 'sealed' }
    Stop-Computer -Force
} catch {
    Send-Failure "generalize: $_"
    exit 1
}
