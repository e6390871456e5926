# Says what Windows Server Backup saves each day, where and when, unless it does so already.
param([string[]]$Folders, [string]$Target, [string]$At, [bool]$SystemState)
$hour = [datetime]::ParseExact($At, 'HH:mm', [Globalization.CultureInfo]::InvariantCulture)
$found = Get-WBPolicy
if ($found) {
    $saved = @(Get-WBFileSpec -Policy $found | ForEach-Object { $_.FolderPath.TrimEnd('\') } | Sort-Object) -join '|'
    $times = @(Get-WBSchedule -Policy $found | ForEach-Object { $_.ToString('HH:mm') }) -join '|'
    $place = @(Get-WBBackupTarget -Policy $found | ForEach-Object { $_.TargetPath.TrimEnd('\') }) -join '|'
    $wanted = @($Folders | ForEach-Object { $_.TrimEnd('\') } | Sort-Object) -join '|'
    $same = $saved -eq $wanted -and $times -eq $At -and $place -eq $Target.TrimEnd('\') -and
        [bool](Get-WBSystemState -Policy $found) -eq $SystemState
}
$Ansible.Changed = -not $same
if (-not $same) {
    $policy = New-WBPolicy
    foreach ($folder in $Folders) { Add-WBFileSpec -Policy $policy -FileSpec (New-WBFileSpec -FileSpec $folder) }
    if ($SystemState) { Add-WBSystemState -Policy $policy }
    $place = if ($Target.StartsWith('\\')) {
        New-WBBackupTarget -NetworkPath $Target
    } else {
        New-WBBackupTarget -VolumePath $Target
    }
    Add-WBBackupTarget -Policy $policy -Target $place | Out-Null
    Set-WBSchedule -Policy $policy -Schedule $hour | Out-Null
    Set-WBPolicy -Policy $policy -Force -AllowDeleteOldBackups | Out-Null
}
