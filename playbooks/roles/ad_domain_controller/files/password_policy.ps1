# Gives the domain its password policy where it has another one.
param([string]$Domain, [object]$Wanted)
$told = @{
    MinPasswordLength = [int]$Wanted.min_length
    ComplexityEnabled = [bool]$Wanted.complexity
    PasswordHistoryCount = [int]$Wanted.history
    MinPasswordAge = New-TimeSpan -Days $Wanted.min_age_days
    MaxPasswordAge = New-TimeSpan -Days $Wanted.max_age_days
    LockoutThreshold = [int]$Wanted.lockout_threshold
    LockoutDuration = New-TimeSpan -Minutes $Wanted.lockout_minutes
    LockoutObservationWindow = New-TimeSpan -Minutes $Wanted.lockout_minutes
}
$found = Get-ADDefaultDomainPasswordPolicy -Identity $Domain
$other = @($told.Keys | Where-Object { $found.$_ -ne $told[$_] })
if ($other) { Set-ADDefaultDomainPasswordPolicy -Identity $Domain @told }
$Ansible.Changed = $other.Count -gt 0
$Ansible.Result = $other
