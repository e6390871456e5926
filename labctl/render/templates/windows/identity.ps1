# At each start of a clone, as the system: who this machine is for labctl, from its small disc; then the way in opens.
$ErrorActionPreference = 'Stop'
. "$PSScriptRoot\report.ps1"
$ssh = "$env:ProgramData\ssh"

# At its first start a clone is still being set up: names and passwords change until that has ended.
function Wait-Setup {
    while ((Get-ItemProperty -Path 'HKLM:\SYSTEM\Setup').SystemSetupInProgress -ne 0 -or
        (Get-ItemProperty -Path 'HKLM:\SYSTEM\Setup').OOBEInProgress -eq 1) {
        Start-Sleep -Seconds 2
    }
    Remove-Item -Path "$env:SystemRoot\Panther\unattend*.xml", "$env:SystemRoot\Panther\Unattend\*" `
        -Force -ErrorAction SilentlyContinue
}

# The file is for the system and administrators alone, by their numbers: their names depend on the language.
function Set-Secret([string]$Path, [string]$Text) {
    [IO.File]::WriteAllText($Path, '')
    & icacls.exe $Path /inheritance:r /grant '*S-1-5-18:F' '*S-1-5-32-544:F' | Out-Null
    if ($LASTEXITCODE -ne 0) { throw "icacls $Path ended with code $LASTEXITCODE" }
    [IO.File]::WriteAllText($Path, $Text)
}

# This task starts with the system, which may not have found all of its cards yet.
function Wait-Card([string]$Mac) {
    $end = (Get-Date).AddSeconds(120)
    do {
        $card = Get-NetAdapter -ErrorAction SilentlyContinue | Where-Object { $_.MacAddress -eq $Mac } |
            Select-Object -First 1
        if ($card) { return $card }
        Start-Sleep -Seconds 1
    } while ((Get-Date) -lt $end)
    throw "no network card has the number $Mac"
}

function Set-CardName($Interfaces, [string]$Management) {
    foreach ($wanted in $Interfaces.PSObject.Properties) {
        try {
            $card = Wait-Card $wanted.Name
            if ($card.Name -ne $wanted.Value) { Rename-NetAdapter -InputObject $card -NewName $wanted.Value }
        } catch {
            # The way in wants its own card alone: what is wrong with another one can be looked at through it.
            if ($wanted.Value -eq $Management) { throw }
            Send-Failure "identity: $($wanted.Value): $_"
        }
    }
}

function Set-Management($Node) {
    Set-NetIPv6Protocol -RandomizeIdentifiers Disabled -UseTemporaryAddresses Disabled
    # Nothing but link-local addresses on the management link: it leads nowhere.
    Disable-NetAdapterBinding -Name $Node.management -ComponentID ms_tcpip
    Set-NetIPInterface -InterfaceAlias $Node.management -AddressFamily IPv6 -RouterDiscovery Disabled -DadTransmits 0
    Set-DnsClient -InterfaceAlias $Node.management -RegisterThisConnectionsAddress $false
    if (-not (Get-NetFirewallRule -Name labctl -ErrorAction SilentlyContinue)) {
        New-NetFirewallRule -Name labctl -DisplayName 'labctl' -Direction Inbound -Action Allow -Protocol TCP `
            -LocalPort $Node.port -InterfaceAlias $Node.management -RemoteAddress 'fe80::/10' -Profile Any | Out-Null
    }
}

# labctl logs in by one name; the account with this number is called otherwise in each language, and Windows for
# workplaces has it switched off. A domain's keeps its own.
function Enable-Administrator {
    if ((Get-CimInstance -ClassName Win32_ComputerSystem).DomainRole -ge 4) { return }
    $account = Get-LocalUser | Where-Object { $_.SID -like '*-500' }
    if ($account.Name -ne 'Administrator') { Rename-LocalUser -InputObject $account -NewName Administrator }
    if (-not $account.Enabled) { Enable-LocalUser -Name Administrator }
}

try {
    Wait-Setup
    $disc = Get-CimInstance -ClassName Win32_LogicalDisk -Filter 'DriveType = 5' |
        Where-Object { Test-Path -LiteralPath "$($_.DeviceID)\labctl\node.json" } | Select-Object -First 1
    if (-not $disc) { exit 0 }
    $node = Get-Content -LiteralPath "$($disc.DeviceID)\labctl\node.json" -Raw | ConvertFrom-Json
    Set-CardName $node.interfaces $node.management
    Set-Management $node
    Set-Secret "$ssh\administrators_authorized_keys" $node.authorized_keys
    Enable-Administrator
    # At the first start labctl brings the server's key through the agent: everybody on this machine reads the disc.
    if (Test-Path -LiteralPath "$ssh\ssh_host_ed25519_key") { Start-Service -Name sshd }
    # labctl waits for the agent and takes it for "SSH answers".
    Start-Service -Name QEMU-GA
} catch {
    Send-Failure "identity: $_"
    exit 1
}
