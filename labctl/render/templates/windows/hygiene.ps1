# Tells what decides whether this Windows can be frozen and cloned.
$ErrorActionPreference = 'Stop'
$controller = (Get-CimInstance -ClassName Win32_ComputerSystem).DomainRole -ge 4
$scope = if ($controller) { '' } else { ' AND LocalAccount = TRUE' }
$account = Get-CimInstance -ClassName Win32_UserAccount -Filter "SID LIKE 'S-1-5-21-%-500'$scope" | Select-Object -First 1
$product = Get-CimInstance -ClassName SoftwareLicensingProduct -Filter `
    "ApplicationID = '55c92734-d682-4d71-983e-d6ec3f16059f' AND PartialProductKey IS NOT NULL" | Select-Object -First 1
$pending = @(
    'HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\Component Based Servicing\RebootPending',
    'HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\WindowsUpdate\Auto Update\RebootRequired'
) | Where-Object { Test-Path -LiteralPath $_ }
$evaluation = (Get-ItemProperty -Path 'HKLM:\SOFTWARE\Microsoft\Windows NT\CurrentVersion').EditionID -like '*Eval'
ConvertTo-Json -Compress -InputObject @{
    sid = "$($account.SID)" -replace '-500$', ''
    pending_reboot = [bool]$pending
    licence = [int]$product.LicenseStatus
    evaluation_days = if ($evaluation) { [int][Math]::Floor($product.GracePeriodRemaining / 1440) } else { -1 }
}
exit 0
