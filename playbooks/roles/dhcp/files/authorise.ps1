# Has the directory name this DHCP server among those that may lease addresses.
param([string]$Name, [string]$Address)
$found = Get-DhcpServerInDC | Where-Object { "$($_.IPAddress)" -eq $Address }
$Ansible.Changed = -not $found
if (-not $found) { Add-DhcpServerInDC -DnsName $Name -IPAddress $Address }
