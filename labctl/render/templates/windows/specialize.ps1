# In the specialize pass, as the system: what sysprep will refuse later must not begin now.
$ErrorActionPreference = 'Stop'
. "$PSScriptRoot\report.ps1"
try {
    Send-Report @{ phase = 'specialize' }
    # Encrypted disks cannot be generalised, and applications that the store updates for one account neither.
    foreach ($value in @(
            @('HKLM:\SYSTEM\CurrentControlSet\Control\BitLocker', 'PreventDeviceEncryption', 1),
            @('HKLM:\SOFTWARE\Policies\Microsoft\WindowsStore', 'AutoDownload', 2),
            @('HKLM:\SOFTWARE\Policies\Microsoft\Windows\WindowsUpdate\AU', 'NoAutoUpdate', 1)
        )) {
        New-Item -Path $value[0] -Force | Out-Null
        New-ItemProperty -Path $value[0] -Name $value[1] -Value $value[2] -PropertyType DWord -Force | Out-Null
    }
} catch {
    Send-Failure "specialize: $_"
    exit 1
}
