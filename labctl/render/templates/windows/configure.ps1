# In audit mode, as its administrator: drivers, guest agent, OpenSSH, what every clone will do at its start, then sealing.
$ErrorActionPreference = 'Stop'
. "$PSScriptRoot\report.ps1"
$build = Get-Content -LiteralPath "$PSScriptRoot\build.json" -Raw | ConvertFrom-Json
$kept = "$env:ProgramData\labctl"

function Find-Drive([string]$Path) {
    foreach ($drive in Get-CimInstance -ClassName Win32_LogicalDisk -Filter 'DriveType = 5') {
        if (Test-Path -LiteralPath "$($drive.DeviceID)\$Path") { return $drive.DeviceID }
    }
    throw "no disc holds $Path"
}

function Install-Driver {
    $disc = Find-Drive 'viostor'
    foreach ($driver in 'viostor', 'NetKVM', 'vioserial', 'Balloon', 'viorng') {
        foreach ($inf in Get-ChildItem -Path "$disc\$driver\$($build.drivers)\amd64" -Filter '*.inf') {
            Invoke-Program 'pnputil.exe' @('/add-driver', "`"$($inf.FullName)`"", '/install')
        }
    }
}

function Install-Agent {
    $disc = Find-Drive 'guest-agent'
    Invoke-Program 'msiexec.exe' @('/i', "`"$disc\guest-agent\qemu-ga-x86_64.msi`"", '/qn', '/norestart')
    # Who hears the agent takes it that the machine is ready: it starts last, by the identity script.
    Set-Service -Name QEMU-GA -StartupType Manual
    Stop-Service -Name QEMU-GA -Force
}

function Install-Ssh {
    if ($build.openssh) {
        Invoke-Program 'msiexec.exe' @('/i', "`"$PSScriptRoot\$($build.openssh)`"", '/qn', '/norestart', 'ADDLOCAL=Server')
    } elseif (-not (Get-Service -Name sshd -ErrorAction SilentlyContinue)) {
        Add-WindowsCapability -Online -Name 'OpenSSH.Server~~~~0.0.1.0' | Out-Null
    }
    Stop-Service -Name sshd -Force
    Set-Service -Name sshd -StartupType Manual
    # The rule that comes with it lets everybody in; the identity script makes one for the management link alone.
    Get-NetFirewallRule -Name 'OpenSSH-Server*' -ErrorAction SilentlyContinue | Remove-NetFirewallRule
    New-Item -Path 'HKLM:\SOFTWARE\OpenSSH' -Force | Out-Null
    New-ItemProperty -Path 'HKLM:\SOFTWARE\OpenSSH' -Name DefaultShell -PropertyType String -Force `
        -Value "$env:SystemRoot\System32\WindowsPowerShell\v1.0\powershell.exe" | Out-Null
    $folder = "$env:ProgramData\ssh"
    New-Item -ItemType Directory -Path $folder -Force | Out-Null
    Remove-Item -Path "$folder\ssh_host_*" -Force -ErrorAction SilentlyContinue
    @(
        "Port $($build.port)", 'AddressFamily inet6', 'HostKey __PROGRAMDATA__/ssh/ssh_host_ed25519_key',
        'AuthorizedKeysFile __PROGRAMDATA__/ssh/administrators_authorized_keys', 'PasswordAuthentication no',
        'KbdInteractiveAuthentication no', 'Subsystem sftp sftp-server.exe'
    ) | Set-Content -LiteralPath "$folder\sshd_config" -Encoding ascii
}

function Set-Quiet {
    foreach ($setting in 'monitor-timeout-ac', 'standby-timeout-ac', 'hibernate-timeout-ac') {
        Invoke-Program 'powercfg.exe' @('/change', $setting, '0')
    }
    Invoke-Program 'powercfg.exe' @('/hibernate', 'off')
    # The addresses that labctl knows are made from the cards' numbers (EUI-64).
    Set-NetIPv6Protocol -RandomizeIdentifiers Disabled -UseTemporaryAddresses Disabled
}

function Register-Start([string]$Name, [string]$Script) {
    $action = New-ScheduledTaskAction -Execute 'powershell.exe' `
        -Argument "-NoProfile -NonInteractive -ExecutionPolicy Bypass -File `"$Script`""
    $settings = New-ScheduledTaskSettingsSet -ExecutionTimeLimit 0 -AllowStartIfOnBatteries
    Register-ScheduledTask -TaskName $Name -Action $action -Trigger (New-ScheduledTaskTrigger -AtStartup) `
        -User 'NT AUTHORITY\SYSTEM' -RunLevel Highest -Settings $settings -Force | Out-Null
}

# How long the licence lasts: minutes of grace, and how often the time may be counted anew. The id is that of Windows.
function Send-Licence {
    $product = Get-CimInstance -ClassName SoftwareLicensingProduct -Filter `
        "ApplicationID = '55c92734-d682-4d71-983e-d6ec3f16059f' AND PartialProductKey IS NOT NULL" | Select-Object -First 1
    $service = Get-CimInstance -ClassName SoftwareLicensingService
    Send-Report @{
        facts = @{
            edition = (Get-ItemProperty -Path 'HKLM:\SOFTWARE\Microsoft\Windows NT\CurrentVersion').EditionID
            build = [Environment]::OSVersion.Version.Build
            evaluation_days = [int][Math]::Floor($product.GracePeriodRemaining / 1440)
            licence = [int]$product.LicenseStatus
            rearms = [int]$service.RemainingWindowsReArmCount
        }
    }
}

try {
    Send-Report @{ phase = 'configure' }
    New-Item -ItemType Directory -Path $kept -Force | Out-Null
    # Only the system and administrators: a clone's secrets will pass here.
    Invoke-Program 'icacls.exe' @("`"$kept`"", '/inheritance:r', '/grant', '*S-1-5-18:(OI)(CI)F', '*S-1-5-32-544:(OI)(CI)F')
    foreach ($script in 'report.ps1', 'identity.ps1', 'seal.ps1') {
        Copy-Item -LiteralPath "$PSScriptRoot\$script" -Destination $kept -Force
    }
    Install-Driver
    Install-Agent
    Install-Ssh
    Set-Quiet
    Send-Licence
    Register-Start 'labctl identity' "$kept\identity.ps1"
    Register-Start 'labctl seal' "$kept\seal.ps1"
    # Not from here: sysprep refuses to run inside Setup, which goes on when this script has ended.
    Start-ScheduledTask -TaskName 'labctl seal'
} catch {
    Send-Failure "configure: $_"
    exit 1
}
