# Imports a group policy from what Backup-GPO saved, where it is not there or was saved anew, and links it.
param([string]$Name, [string]$Folder, [string]$Target, [bool]$Renew)
$Ansible.Changed = $false
$found = Get-GPO -All | Where-Object { $_.DisplayName -eq $Name }
if (-not $found -or $Renew) {
    $saved = Get-ChildItem -LiteralPath $Folder -Directory -Recurse |
        Where-Object { $_.Name -match '^\{[0-9A-Fa-f-]{36}\}$' } | Select-Object -First 1
    if (-not $saved) { throw "$Folder holds no policy that Backup-GPO saved" }
    $id = [guid]$saved.Name
    Import-GPO -BackupId $id -Path $saved.Parent.FullName -TargetName $Name -CreateIfNeeded | Out-Null
    $Ansible.Changed = $true
}
$links = (Get-GPInheritance -Target $Target).GpoLinks | Where-Object { $_.DisplayName -eq $Name }
if (-not $links) {
    New-GPLink -Name $Name -Target $Target | Out-Null
    $Ansible.Changed = $true
}
