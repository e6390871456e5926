# Refuses SMB1, and asks that all messages are signed.
$wanted = @{ EnableSMB1Protocol = $false; RequireSecuritySignature = $true }
$found = Get-SmbServerConfiguration
$other = @($wanted.Keys | Where-Object { $found.$_ -ne $wanted[$_] })
if ($other) { Set-SmbServerConfiguration @wanted -Force }
$Ansible.Changed = $other.Count -gt 0
